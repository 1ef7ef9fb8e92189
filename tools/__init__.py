"""What makes files of the tree from other files of it: `make generate`. Tests hold that they are up to date."""
