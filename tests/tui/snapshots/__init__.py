"""Pictures of screens, kept beside the tests that compare them."""
