"""From a manager's rulebase to a compiled policy, and the report on what became of each rule."""
