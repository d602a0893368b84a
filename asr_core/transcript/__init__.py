"""Words with times and confidences in; txt, srt, vtt and json files out."""
