"""Planning: build keys, verdicts, the plan. Pure."""
