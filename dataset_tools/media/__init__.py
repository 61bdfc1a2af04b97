"""What lies beside the tables of a data set: media files, recognised speech, published features."""
