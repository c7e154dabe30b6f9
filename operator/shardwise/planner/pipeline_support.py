"""Which architectures an engine can split into pipeline stages, by the engines' own sources."""

from typing import Final

VLLM_CANNOT: Final = frozenset(
    """
    AliceAIForCausalLM AriaForConditionalGeneration CohereAsrForConditionalGeneration DFlashLagunaForCausalLM
    DiffusionGemmaForBlockDiffusion DomynEdgeForCausalLM DoryForCausalLM FireRedASR2ForConditionalGeneration
    FunASRForConditionalGeneration Gemma3nForCausalLM Gemma3nForConditionalGeneration HrmTextForCausalLM
    IQuestLoopCoderForCausalLM Idefics3ForConditionalGeneration JinaForRanking Mamba2ForCausalLM
    NemotronH_Nano_Omni_Reasoning_V3 NemotronH_Nano_VL_V2 NemotronH_Omni_Reasoning_V3
    NemotronH_Super_Omni_Reasoning_V3 NemotronParseForConditionalGeneration PaddleOCRVLForConditionalGeneration
    PeagleLlamaForCausalLM Phi4MMForCausalLM RadioMBartPrefixForCausalLM RobertaForMaskedLM
    SmolVLMForConditionalGeneration Terratorch WhisperForConditionalGeneration Zamba2ForCausalLM
    """.split()  # noqa: SIM905 - a list of them would be a line for each
)
"""Generative model classes of vllm 0.33.0 that do not derive from SupportsPP; one that is not listed can be split."""

SGLANG_CAN: Final = frozenset(
    """
    ApertusForCausalLM ArceeForCausalLM BailingMM2NativeForConditionalGeneration
    BailingMMNativeForConditionalGeneration BailingMoEForCausalLM BailingMoeForCausalLM BailingMoeV2ForCausalLM
    BailingMoeV2_5ForCausalLM BailingMoeV3ForCausalLM BailingMoeV3VLForConditionalGeneration BeamForCausalLM
    Cosmos3EdgeForConditionalGeneration Cosmos3ForConditionalGeneration DFlash2BeamDraftModel DFlash2DraftModel
    DFlashDraftModel DFlashLagunaForCausalLM DSparkDraftModel DSparkMiniMaxDraftModel DeciLMForCausalLM
    DeepseekV2ForCausalLM DeepseekV32ForCausalLM DeepseekV3ForCausalLM DeepseekV3ForCausalLMNextN
    DeepseekV4ForCausalLM DeepseekV4ForCausalLMDSpark DotsVLMForCausalLM Eagle3DeepseekV2ForCausalLM
    Exaone4ForCausalLM ExaoneMoEForCausalLM ExaoneMoeForCausalLM Gemma4ForCausalLM Gemma4ForConditionalGeneration
    GigaChat35ForCausalLM Glm4ForCausalLM Glm4MoeForCausalLM Glm4MoeLiteForCausalLM Glm4vForConditionalGeneration
    Glm4vMoeForConditionalGeneration Glm5NextForConditionalGeneration Glm5NextForConditionalGenerationNextN
    GlmMoeDsaForCausalLM GlmMoeDsaForCausalLMNextN GlmOcrForConditionalGeneration GptOssForCausalLM
    GraniteMoeHybridForCausalLM IQuestCoderForCausalLM InternLM3ForCausalLM InternS1ProForConditionalGeneration
    InternS2MobiusForConditionalGeneration InternS2PreviewForConditionalGeneration K2HorizonForCausalLM
    KimiK25ForConditionalGeneration KimiK3ForConditionalGeneration KimiK3LinearForCausalLM KimiLinearForCausalLM
    LLaDA2MoeModelLM LagunaForCausalLM Lfm2DSparkDraftModel LiLiCorrDraftModel LingDSparkModel Llama4ForCausalLM
    LlamaForCausalLM LlamaForCausalLMEagle LlamaForCausalLMEagle3 LlavaForConditionalGeneration MellumForCausalLM
    MiMoV2ASRForCausalLM MiMoV2FlashForCausalLM MiMoV2ForCausalLM MiniMaxDFlash2DraftModel MiniMaxM2ForCausalLM
    MiniMaxM3SparseForCausalLM MiniMaxM3SparseForConditionalGeneration Ministral3ForCausalLM
    Mistral3ForConditionalGeneration MistralForCausalLM MistralForCausalLMEagle MistralLarge3ForCausalLM
    MistralLarge3ForCausalLMEagle MixtralForCausalLM MossVLForConditionalGeneration MuseGlimmerAssistantModel
    NanbeigeForCausalLM NemotronHForCausalLM NemotronHPuzzleForCausalLM OPTForCausalLM Phi3ForCausalLM
    Qwen2ForCausalLM Qwen2ForCausalLMEagle Qwen2MoeForCausalLM Qwen2_5_VLForConditionalGeneration Qwen3DSparkModel
    Qwen3ForCausalLM Qwen3Model Qwen3MoeForCausalLM Qwen3VLForConditionalGeneration
    Qwen3VLMoeForConditionalGeneration Qwen3_5ForCausalLM Qwen3_5ForConditionalGeneration Qwen3_5MoeForCausalLM
    Qwen3_5MoeForConditionalGeneration Qwen4ExpForConditionalGeneration SDARForCausalLM SDARMoeForCausalLM
    SarvamMLAForCausalLM SarvamMoEForCausalLM SolarForCausalLM Spark2_5ForCausalLM Step3p5ForCausalLM
    TeleFLMForCausalLM TransformersEmbeddingModel TransformersForCausalLM TransformersForSequenceClassification
    TransformersMoEEmbeddingModel TransformersMoEForCausalLM TransformersMoEForSequenceClassification
    TransformersMultiModalEmbeddingModel TransformersMultiModalForCausalLM
    TransformersMultiModalForSequenceClassification TransformersMultiModalMoEEmbeddingModel
    TransformersMultiModalMoEForCausalLM TransformersMultiModalMoEForSequenceClassification XllmForCausalLM
    ZayaForCausalLM
    """.split()  # noqa: SIM905 - a list of them would be a line for each
)
"""Model classes of sglang 0.5.23 whose forward takes pp_proxy_tensors (model_runner.py); all others cannot be split."""
