"""Vision and audio towers: counted where their kind was counted, estimated and marked where it was not."""

import pytest
from tests.checkpoint.support import BASE, Json, counted
from tests.support.models import parameters

from shardwise.checkpoint import ConfigError, from_config
from shardwise.checkpoint.fields import Fields
from shardwise.checkpoint.towers import PROJECTORS, TOWERS
from shardwise.domain.model import ModelFacts, Split

SMALL: Json = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
ENCODER = 2 * (4 * (64 * 64 + 64) + 256 * 64 + 256 + 64 * 256 + 64 + 4 * 64)
PATCH = 64 * 3 * 196
FOUR_PATCHES = 4 * 64

ELEMENTS: dict[str, tuple[str, Json, int]] = {
    "clip": ("clip_vision_model", {}, PATCH + FOUR_PATCHES + 2 * 64 + ENCODER + 4 * 64),
    "siglip": (
        "siglip_vision_model",
        {"vision_use_head": False},
        PATCH + 64 + FOUR_PATCHES + ENCODER + 2 * 64,
    ),
    "siglip with its head": (
        "siglip_vision_model",
        {},
        PATCH + 64 + FOUR_PATCHES + ENCODER + 2 * 64
        + 64 + 4 * (64 * 64 + 64) + 2 * 64 + 256 * 64 + 256 + 64 * 256 + 64,
    ),
    "pixtral": ("pixtral", {}, PATCH + 64 + 2 * (4 * 64 * 64 + 3 * 64 * 256 + 2 * 64)),
    "qwen2.5": (
        "qwen2_5_vl_vision",
        {"depth": 2, "out_hidden_size": 32},
        2 * PATCH
        + 2 * (4 * (64 * 64 + 64) + 2 * (256 * 64 + 256) + 64 * 256 + 64 + 2 * 64)
        + 64 + 256 * 256 + 256 + 32 * 256 + 32,
    ),
    "qwen3": (
        "qwen3_vl_vision",
        {"depth": 2, "out_hidden_size": 32, "num_position_embeddings": 9, "deepstack_visual_indexes": [1]},
        2 * PATCH + 64 + 9 * 64 + ENCODER
        + 2 * 64 + 256 * 256 + 256 + 32 * 256 + 32
        + 8 * 64 + 256 * 256 + 256 + 32 * 256 + 32,
    ),
    "whisper's encoder": (
        "qwen2_audio_encoder",
        {"num_mel_bins": 8, "max_source_positions": 10},
        64 * (3 * 8 + 1) + 64 * (3 * 64 + 1) + 640 + ENCODER - 2 * 64 + 2 * 64,
    ),
    "idefics": ("idefics3_vision", {}, PATCH + 64 + FOUR_PATCHES + ENCODER + 2 * 64),
    "kimi's": (
        "kimi_k25_vision",
        {"pos_emb_height": 3, "pos_emb_width": 5},
        PATCH + 64 + 15 * 64 + ENCODER + 2 * 64,
    ),
    "gemma 4's": (
        "gemma4_vision",
        {"position_embedding_size": 7, "head_dim": 16},
        PATCH + 14 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 256 + 4 * 64) + 2 * 32,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "changes", "elements"), ELEMENTS.values(), ids=ELEMENTS)
def test_a_tower_has_the_elements_of_its_shape(kind: str, changes: Json, elements: int) -> None:
    assert TOWERS[kind](Fields("org/model", SMALL | changes)) == elements


def nested(outer: str, vision: Json | None, **whole: object) -> ModelFacts:
    config = {"architectures": ["Outer"], "model_type": outer, "text_config": BASE, **whole}
    return from_config(config | ({"vision_config": vision} if vision else {}), name="org/model", origin="test")


PROJECTED: dict[str, tuple[str, str, int]] = {
    "internvl: patches folded, a norm and two layers": (
        "internvl",
        "internvl_vision",
        2 * 256 + 1024 * 257 + 1024 * 1025,
    ),
    "llava: two layers": ("llava", "clip_vision_model", 1024 * 65 + 1024 * 1025),
    "llava-next: and a new line": ("llava_next", "clip_vision_model", 1024 * 65 + 1024 * 1025 + 1024),
    "paligemma: one": ("paligemma", "siglip_vision_model", 1024 * 65),
    "gemma 3: a norm and a matrix": ("gemma3", "siglip_vision_model", 64 * 1025),
    "mistral 3: patches merged": ("mistral3", "pixtral", 64 + 64 * 64 * 4 + 1024 * 64 + 1024 * 1024),
    "idefics 3: pixels shuffled": ("idefics3", "idefics3_vision", 1024 * 64 * 4),
    "gemma 4: a matrix": ("gemma4", "gemma4_vision", 1024 * 64),
}


@pytest.mark.parametrize(("outer", "kind", "elements"), PROJECTED.values(), ids=PROJECTED)
def test_what_stands_between_a_tower_and_the_language_model_is_counted(outer: str, kind: str, elements: int) -> None:
    vision = SMALL | {"model_type": kind}
    model = nested(outer, vision)
    alone = TOWERS[kind](Fields("org/model", vision))
    assert sum(weight.elements for weight in model.tower) == alone + elements
    assert not model.guessed


def test_every_rank_holds_the_tower_and_no_engine_quantises_it() -> None:
    model = nested("llava", SMALL | {"model_type": "clip_vision_model"}, quantization_config={"quant_method": "fp8"})
    assert [(weight.split, weight.linear, weight.precision.bytes_per_element) for weight in model.tower] == [
        (Split.WHOLE, False, 2.0)
    ]


UNKNOWN: dict[str, tuple[str, Json]] = {
    "of an unknown kind": ("llava", SMALL | {"model_type": "brand_new_vision"}),
    "of no kind": ("llava", SMALL),
    "in an unknown model": ("brand_new", SMALL | {"model_type": "clip_vision_model"}),
}


@pytest.mark.parametrize(("outer", "vision"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_tower_that_was_never_counted_is_estimated_and_marked(outer: str, vision: Json) -> None:
    model = nested(outer, vision)
    assert model.guessed
    assert any("the tower of `vision_config`" in note and "is estimated" in note for note in model.notes)
    assert sum(weight.elements for weight in model.tower) == pytest.approx(ENCODER, rel=20)


def test_a_tower_without_sizes_counts_nothing_and_says_so() -> None:
    model = nested("llava", {"model_type": "brand_new_vision"})
    assert (model.tower, model.guessed) == ((), True)


@pytest.mark.parametrize("vision", [None, {}])
def test_a_model_without_a_tower_has_none(vision: Json | None) -> None:
    model = nested("llava", vision)
    assert (model.tower, model.guessed) == ((), False)


def test_a_model_within_that_nothing_counts_is_named() -> None:
    model = nested("llava", None, talker_config={"model_type": "talker", "hidden_size": 8}, generation_config={"a": 1})
    assert "the model of `talker_config` is not counted" in model.notes
    assert model.guessed


WRONG: dict[str, tuple[Json, str]] = {
    "a text for a width": ({"hidden_size": "64"}, "`hidden_size: '64'`"),
    "a list for a width": ({"hidden_size": [1, 2]}, r"`hidden_size: \[1, 2\]`"),
    "nothing for an edge": ({"patch_size": ["a"]}, "'a' in `patch_size`: whole numbers are needed"),
    "no width": ({"hidden_size": None}, "lacks `hidden_size`"),
    "a ratio that is none": ({"intermediate_size": None, "mlp_ratio": "4"}, "`mlp_ratio: '4'`: a positive number"),
}


@pytest.mark.parametrize("ratio", [0, -1, 2, "half", True, float("nan")])
def test_a_ratio_of_pixels_that_is_none_is_named(ratio: object) -> None:
    with pytest.raises(ConfigError, match="`downsample_ratio: .*`: a number from 0.001 to 1 is needed"):
        nested("internvl", SMALL | {"model_type": "internvl_vision"}, downsample_ratio=ratio)


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_field_of_a_tower_is_named(changes: Json, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nested("llava", SMALL | {"model_type": "clip_vision_model"} | changes)


COUNTED = {
    row["config"]["model_type"]: row
    for row in counted()
    if row["config"]["model_type"] in PROJECTORS and row["config"]["model_type"] != "vipllava"
}


@pytest.mark.parametrize("kind", sorted(COUNTED))
def test_towers_and_projectors_of_a_known_model_are_exact(kind: str) -> None:
    row = COUNTED[kind]
    model = from_config(row["config"], name="org/model", origin="test")
    assert parameters(model) == pytest.approx(row["parameters"], rel=0.0005)
    assert not model.guessed


def test_most_known_towers_are_held_to_a_count() -> None:
    assert len(COUNTED) >= 25
