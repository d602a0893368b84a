"""Public corpora, folders and tables -> manifests. The command is `python -m train.corpora`."""
