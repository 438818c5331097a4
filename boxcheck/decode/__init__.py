"""Pure decoders: bytes or text in, values out. They never touch the machine, so triage can use them on pasted text."""
