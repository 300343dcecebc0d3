"""Takes reconstructions and networks away in the formats that other tools read; one module per format."""
