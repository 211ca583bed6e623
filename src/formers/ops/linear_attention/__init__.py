"""Linear attention: keys and values enter as sums over products of features, so that time grows with the length alone."""
