"""Make class maps follow the edges of their image: PAMR and the dense CRF."""
