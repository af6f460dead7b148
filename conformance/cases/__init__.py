"""The cases, one file per subject. Their names are permanent: others cite them."""
