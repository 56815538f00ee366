"""The steps of a store over what it holds in memory, for stores that hold everything there."""
