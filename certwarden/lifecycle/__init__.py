"""The ways through the house: observe, plan, act. Verbs only; the neighbours come as ports."""
