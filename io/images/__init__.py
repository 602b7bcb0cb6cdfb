"""Pictures and other dense rows, in the files that they are published in, to a data set."""
