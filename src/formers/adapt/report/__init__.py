"""The pages of `formers adapt` and `formers repair`, and the results that they are drawn from."""
