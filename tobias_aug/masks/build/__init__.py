"""Images and a localizer in, a mask table out: plan, compute, resume, ranks, Ray, verify."""
