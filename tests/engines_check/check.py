"""Ask the real engines for every fact that Shardwise's tables hold, and write the answers down as test data.

Run by `make check-engines`, outside CI: it needs 10 GB and some minutes, and no GPU. The engines run on pretended GPUs.
The results are `tests/data/engines/`; ordinary tests hold the product's tables to them. `--history` reads the sources
of the older releases as well, which fetches 10 GB more. `--only` asks a single engine for its command lines alone.
"""

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from environments import (
    HERE,
    OLDER,
    RELEASES,
    TENSORRT_LLM,
    package_of,
    python_of,
    sources_of,
    tensorrt_llm_release,
    tensorrt_llm_sources,
)
from sources import Release, read_release, sglang_stages, vllm_stage_ends

DATA: Final = HERE.parent / "data" / "engines"

GPUS: Final = {"T4": 75, "A100": 80, "A10": 86, "L40S": 89, "H100": 90, "GB200": 100, "RTX-PRO-6000": 120}
"""A product for each compute capability that is tried, as `pretended.py` has them."""

TABLE: Final = HERE.parents[1] / "operator" / "shardwise" / "data" / "architectures.json"
"""The product's table of model classes, which this check writes."""

STARTS: Final = {"vllm": "0.11.1", "sglang": "0.5.0"}
"""The oldest release that Shardwise starts."""

REGISTRIES: Final = {"vllm": "model_executor/models/registry.py", "sglang": "srt/models/*.py, EntryClass"}

CONVERTS: Final = {"vllm": ["ForCausalLM", "ForConditionalGeneration", "ChatModel", "LMHeadModel"]}
"""Endings of names that an engine takes for one another: vllm 0.33.0, config/model.py, _SUFFIX_TO_DEFAULTS."""

Verdict = Mapping[str, str]
"""The verdict on a probe by the word of ``--quantization``; the empty word where none is given."""


def main() -> None:
    """Ask both engines, write their answers, and say what was written."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--history", action="store_true")
    parser.add_argument("--only", choices=(*RELEASES, TENSORRT_LLM))
    parser.add_argument("--trt-source", type=Path, help="a folder with the package tensorrt_llm, instead of its tag")
    given = parser.parse_args()
    cache = given.cache.resolve()
    if given.only is None:
        ask_all(cache, history_too=given.history)
    for engine in (*RELEASES, TENSORRT_LLM) if given.only is None else (given.only,):
        write(DATA / f"{engine}-lines.json", read_lines(engine, cache, given.trt_source))


def ask_all(cache: Path, *, history_too: bool) -> None:
    """Ask vLLM and SGLang for everything besides command lines."""
    for engine in RELEASES:
        write(DATA / f"{engine}.json", facts(engine, cache))
        if history_too:
            write(DATA / f"{engine}-history.json", history(engine, cache))
    write_product_table(product_table())
    from lines import configs, degrees  # noqa: PLC0415 - the product reads the table that was just written

    folders = written(configs(), cache / "work" / "configs")
    cases = [
        {"model": name, "config": folders[name], "degrees": degrees(name, config), "expert": False}
        for name, config in configs().items()
        if name in folders
    ]
    write(DATA / "vllm-legality.json", read_legality(cache, cases))
    write(DATA / "vllm-pages.json", read_pages(cache))


def facts(engine: str, cache: Path) -> dict[str, Any]:
    """Give the facts of the release that is run."""
    work = cache / "work" / engine
    work.mkdir(parents=True, exist_ok=True)
    found = asked(engine, cache, f"{engine}_facts.py", str(work))
    if engine == "vllm":
        found["stage_ends"] = vllm_stage_ends(package_of(engine, cache))
    else:
        found["architectures"] = sglang_stages(package_of(engine, cache))
    found["fallback"] = sorted(set(found["fallback"]) - set(found["architectures"]))
    verdicts = {level: asked(engine, cache, f"{engine}_probes.py", gpu, str(work)) for gpu, level in GPUS.items()}
    found["probes"] = {name: summed({level: verdicts[level][name] for level in verdicts}) for name in verdicts[90]}
    return {"read": today(), **found}


def asked(engine: str, cache: Path, script: str, *words: str, given: object = None) -> Any:
    """Run a script of this folder in an engine's environment, and read the JSON that it prints.

    ``given`` is the JSON that the script reads from its standard input.
    """
    say(f"{engine}: {script} {' '.join(words[:1])}")
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(  # noqa: S603 - a script of this folder
        [str(python_of(engine, cache)), str(HERE / script), *words],
        check=False, capture_output=True, text=True, input=json.dumps(given), env=outside,
    )  # fmt: skip
    if not ran.stdout:
        raise SystemExit(f"{script} of {engine} failed:\n{ran.stderr[-3000:]}")
    return json.loads(ran.stdout)


def written(configs: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, str]:
    """Write each config.json into a folder of its own; give the folders by the model's name.

    Only configs that name their class can be read by an engine: those from secondary sources may lack it. Configs of
    checkpoints that bring code lose their reference to it, since the code is not there.
    """
    found: dict[str, str] = {}
    for name, config in configs.items():
        if config.get("architectures") and config.get("model_type"):
            at = folder / name.replace("/", "__")
            at.mkdir(parents=True, exist_ok=True)
            kept = {key: value for key, value in config.items() if key != "auto_map"}
            (at / "config.json").write_text(json.dumps(kept))
            found[name] = str(at)
    return found


def read_legality(cache: Path, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Let vLLM build models for tensor degrees. Give its words by model and degree: empty where it builds."""
    built = asked("vllm", cache, "vllm_legality.py", "H100", str(cache / "work" / "vllm"), given=cases)
    return {"read": today(), "engine": "vllm", "release": RELEASES["vllm"], "built": built}


def read_pages(cache: Path) -> dict[str, Any]:
    """Let vLLM cut caches into pages. Give tokens and bytes by model, product and degree, or vLLM's refusal."""
    from hybrids import DEGREES, PAGED_ON, hybrids  # noqa: PLC0415 - as above

    folders = written(hybrids(), cache / "work" / "hybrids")
    cases = [{"config": folder, "tensor": degree} for folder in folders.values() for degree in DEGREES]
    pages: dict[str, dict[str, dict[str, Any]]] = {name: {gpu: {} for gpu in PAGED_ON} for name in folders}
    for gpu in PAGED_ON:
        found = iter(asked("vllm", cache, "vllm_pages.py", gpu, str(cache / "work" / "vllm"), given=cases))
        for name in folders:
            pages[name][gpu] = {str(degree): next(found) for degree in DEGREES}
    return {"read": today(), "engine": "vllm", "release": RELEASES["vllm"], "pages": pages}


def read_lines(engine: str, cache: Path, trt_source: Path | None) -> dict[str, Any]:
    """Let an engine read command lines. Give their number, and the engine's words for each line that it refuses."""
    from lines import configs, lines  # noqa: PLC0415 - as above

    folders, made = written(configs(), cache / "work" / "configs"), list(lines(engine))
    read = {line.model: line.model for line in made} if engine == TENSORRT_LLM else folders  # it reads no config here
    release, work = _read_by(engine, cache, trt_source)
    refused: dict[str, str] = {}
    configured = 0
    for gpu in dict.fromkeys(line.gpu for line in made):
        of_gpu = [line for line in made if line.gpu == gpu]
        given = [
            {
                "words": line.words,
                "config": read.get(line.model) if line.configures else None,
                "options": line.options,
            }
            for line in of_gpu
        ]
        configured += sum(line["config"] is not None for line in given)
        verdicts = asked(engine, cache, f"{engine.replace('-', '_')}_lines.py", gpu, str(work), given=given)
        refused |= {line.name: said for line, said in zip(of_gpu, verdicts, strict=True) if said}
    say(f"{engine} {release}: {len(made)} lines parsed, {configured} configured, {len(refused)} refused")
    counts = {"lines": len(made), "configured": configured, "of_data_ranks": sum(line.has_data_ranks for line in made)}
    return {"read": today(), "engine": engine, "release": release, **counts, "refused": refused}


def _read_by(engine: str, cache: Path, trt_source: Path | None) -> tuple[str, Path]:
    """Give the release that reads an engine's lines, and the folder that its script is given."""
    if engine == TENSORRT_LLM:
        sources = tensorrt_llm_sources(cache) if trt_source is None else trt_source.resolve()
        return tensorrt_llm_release(sources), sources
    work = cache / "work" / engine
    work.mkdir(parents=True, exist_ok=True)
    return RELEASES[engine], work


def summed(verdicts: Mapping[int, Verdict]) -> dict[str, Any]:
    """Sum the verdicts on a probe up: the method and the least capability, or the engine's refusal on the newest GPU.

    ``fp8`` says what becomes of the probe with ``--quantization fp8``.
    """
    found: dict[str, Any] = {}
    for word in ("", "fp8"):
        taken = {level: verdict[word] for level, verdict in verdicts.items() if not is_refusal(verdict[word])}
        if taken:
            least = min(taken)
            found[word or "as stated"] = {"method": taken[least], "least": least}
        else:
            found[word or "as stated"] = {"refused": verdicts[max(verdicts)][word].removeprefix("refused: ")}
    return found


def is_refusal(verdict: str) -> bool:
    """Tell whether an engine refused."""
    return verdict.startswith("refused: ")


def history(engine: str, cache: Path) -> dict[str, Any]:
    """Give the releases in which a class or a method came and went. The oldest release read counts as the first."""
    versions = (*OLDER[engine], RELEASES[engine])
    releases = [read_release(engine, sources_of(engine, version, cache)) for version in versions]
    return {
        "read": today(),
        "engine": engine,
        "releases": [release.release for release in releases],
        "architectures": spans(releases, "architectures"),
        "methods": spans(releases, "methods"),
        "deprecated": spans(releases, "deprecated"),
    }


def spans(releases: Iterable[Release], kind: str) -> dict[str, list[str]]:
    """Give for each name the releases in which it came and went, in turn: an even number of them means that it left."""
    found: dict[str, list[str]] = {}
    for release in releases:
        names = set(getattr(release, kind))
        for name in names | set(found):
            there = len(found.get(name, ())) % 2 == 1
            if (name in names) is not there:
                found.setdefault(name, []).append(release.release)
    return dict(sorted(found.items()))


def product_table() -> dict[str, dict[str, Any]]:
    """Make the product's table of model classes from the recorded facts: it has too many rows to be kept by hand.

    A class of the oldest release that was read counts as there from the oldest release that Shardwise starts.
    """
    rows: dict[str, dict[str, Any]] = {}
    for engine in RELEASES:
        recorded = json.loads((DATA / f"{engine}-history.json").read_text())
        oldest, newest = recorded["releases"][0], recorded["releases"][-1]
        spans_of = {
            name: [STARTS[engine] if release == oldest else release for release in span]
            for name, span in recorded["architectures"].items()
        }
        rows[engine] = {
            "source": f"{engine} {newest}, {REGISTRIES[engine]}, and the wheels since {oldest}",
            "converts": CONVERTS.get(engine, []),
            "fallback": json.loads((DATA / f"{engine}.json").read_text())["fallback"],
            "classes": spans_of,
        }
    return rows


def write_product_table(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the product's table of model classes, with a class a line."""
    parts = []
    for engine, row in rows.items():
        fields = [f"  {json.dumps(name)}: {json.dumps(row[name])}" for name in ("source", "converts")]
        listed = ",\n".join(f"    {json.dumps(name)}" for name in row["fallback"])
        fields.append(f'  "fallback": [\n{listed}\n  ]')
        classes = ",\n".join(f"    {json.dumps(name)}: {json.dumps(span)}" for name, span in row["classes"].items())
        fields.append(f'  "classes": {{\n{classes}\n  }}')
        parts.append(f"{json.dumps(engine)}: {{\n" + ",\n".join(fields) + "\n}")
    TABLE.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    say(f"{TABLE.name} written")


def today() -> str:
    """Give the date of the check."""
    return dt.datetime.now(tz=dt.UTC).date().isoformat()


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document with an entry a line, so that a newer release is a readable difference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [f"{json.dumps(name)}: {entries(value)}" for name, value in document.items()]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    say(f"{path.name} written")


def entries(value: object) -> str:
    """Write a list or an object with an entry a line."""
    if isinstance(value, Mapping):
        inside = ",\n".join(f"  {json.dumps(key)}: {json.dumps(item)}" for key, item in sorted(value.items()))
        return "{\n" + inside + "\n}" if inside else "{}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n]"
    return json.dumps(value)


def say(line: str) -> None:
    """Write a line at once: the whole takes minutes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
