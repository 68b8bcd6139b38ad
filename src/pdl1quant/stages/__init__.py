"""The science: arrays in, arrays out. A stage never imports another stage."""
