"""Files and arrays of any kind -> mono float32 samples at a model's rate, and where they hold speech."""
