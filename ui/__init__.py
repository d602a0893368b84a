"""The page. Imports asr_core and gradio, never train."""
