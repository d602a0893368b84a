"""The networks: features [batch, frames, bins] -> logits [batch, steps, tokens]."""
