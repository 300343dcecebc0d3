"""Training of DUSt3R and Spann3R on posed RGB-D scenes."""
