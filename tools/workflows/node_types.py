"""What is known of node types by name: the inputs that take a setting. A node type whose inputs are called otherwise is added here."""

SEED_KEYS = ("seed", "noise_seed")
TEXT_KEYS = ("text", "text_g", "text_l", "clip_l", "t5xxl", "prompt")
VALUE_KEYS = ("value", "int", "float", "number", "string", "text", "text_string", "String", "Number", "Value")
"""Where nodes that only hold a value (primitives, text boxes) keep it."""

LATENT_KEYS = ("latent_image", "latent", "samples", "optional_latent")
MODEL_KEYS = ("ckpt_name", "unet_name")
STRENGTH_KEYS = ("strength_model", "strength_clip", "lora_model_strength", "lora_clip_strength", "lora_strength", "strength")

MODEL_FOLDERS = {
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "control_net_name": "controlnet",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "upscale_model": "upscale_models",
}
"""An input that names a model file -> the server's folder of such files."""

FORGETTING_NODES = frozenset({"ConditioningZeroOut"})
"""Nodes after which nothing of a text is left."""
