"""Links of the documentation site: a page links to files of the repository, and most of them are not on the site.

mkdocs runs this file as a hook, by its path. In the repository all links are relative, so that they work on disk and
where the repository is hosted.
"""

import posixpath
import re
from pathlib import Path
from typing import Any, Final

_LINK: Final = re.compile(r"(\]\()(?!https?://|#|mailto:)([^)#\s]+)")
_DOCS: Final = "docs"


def outside(markdown: str, page: str, repository: str, root: Path) -> str:
    """Rewrite the links of a page that leave the folder of the documents, and links to folders.

    ``page`` is the path of the page in ``docs``. Such links lead to the ``repository``. ``root`` is the folder of the
    repository on disk: what a link names there is a file or a folder.
    """
    folder = posixpath.dirname(posixpath.join(_DOCS, page))

    def rewritten(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        is_folder = (root / target).is_dir()
        if target.startswith(f"{_DOCS}/") and not is_folder:
            return match[0]
        return f"{match[1]}{repository}/{'tree' if is_folder else 'blob'}/main/{target}"

    return _LINK.sub(rewritten, markdown)


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:  # noqa: ANN401, ARG001 - the signature of mkdocs
    """Rewrite a page before mkdocs reads it."""
    root = Path(config["config_file_path"]).parent
    return outside(markdown, page.file.src_uri, str(config["repo_url"]).rstrip("/"), root)
