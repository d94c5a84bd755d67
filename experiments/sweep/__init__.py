"""Many runs from one file: sweeps over settings and seeds, and the search for good hyper-parameters."""
