"""Golden boxes: limits from good runs, reference measurements to share, a run laid beside one of those.

`measure` takes from a store what its checks would judge, `good` says whether a run may be a pattern, `limits` makes
limits of several, `tolerance` holds the statistics, `draft` and `profile_toml` write the profile, `reference` and
`sharing` the measurement that others get, `lay_beside` compares.
"""
