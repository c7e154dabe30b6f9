"""Architectures that vLLM cannot split into pipeline stages: classes of 0.33.0 that do not derive from SupportsPP."""

from typing import Final

NO_PIPELINE: Final = frozenset(
    {
        "AliceAIForCausalLM",
        "AriaForConditionalGeneration",
        "CohereAsrForConditionalGeneration",
        "DFlashLagunaForCausalLM",
        "DiffusionGemmaForBlockDiffusion",
        "DomynEdgeForCausalLM",
        "DoryForCausalLM",
        "FireRedASR2ForConditionalGeneration",
        "FunASRForConditionalGeneration",
        "Gemma3nForCausalLM",
        "Gemma3nForConditionalGeneration",
        "HrmTextForCausalLM",
        "IQuestLoopCoderForCausalLM",
        "Idefics3ForConditionalGeneration",
        "JinaForRanking",
        "Mamba2ForCausalLM",
        "NemotronH_Nano_Omni_Reasoning_V3",
        "NemotronH_Nano_VL_V2",
        "NemotronH_Omni_Reasoning_V3",
        "NemotronH_Super_Omni_Reasoning_V3",
        "NemotronParseForConditionalGeneration",
        "PaddleOCRVLForConditionalGeneration",
        "PeagleLlamaForCausalLM",
        "Phi4MMForCausalLM",
        "RadioMBartPrefixForCausalLM",
        "RobertaForMaskedLM",
        "SmolVLMForConditionalGeneration",
        "Terratorch",
        "WhisperForConditionalGeneration",
        "Zamba2ForCausalLM",
    }
)
"""Generative model classes of the registry without pipeline support; one that is not listed has it."""
