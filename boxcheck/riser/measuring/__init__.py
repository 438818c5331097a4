"""A link under load: what crossed it, what was counted at both ends, what that proves."""
