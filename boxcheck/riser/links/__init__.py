"""The two ends of a link: what is read and written of them, and how it is all put back."""
