"""One pass over one environment: observe, brake, check, repair. No signals, no argv."""
