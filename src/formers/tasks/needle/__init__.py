"""Facts hidden in a long text, one of which is asked for: of symbols to train on, and drawn for texts of words, too."""
