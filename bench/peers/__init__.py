"""One small program for each library that cnnlite is compared with, and what they share."""
