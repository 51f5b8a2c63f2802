"""Which county and which state each airport and each place lies in; null where it lies in none."""

import builder as b

airport_counties = b.assign_regions(
    "airport_counties",
    points="clean_airports.good",
    regions="clean_counties.good",
    lon="lon",
    lat="lat",
    region_id={"county": "id"},
    predicate="within",
    publish=True,
)

airport_states = b.assign_regions(
    "airport_states",
    points="clean_airports.good",
    regions="clean_states.good",
    lon="lon",
    lat="lat",
    region_id={"state": "id"},
    predicate="within",
)

place_counties = b.assign_regions(
    "place_counties",
    points="places",
    regions="clean_counties.good",
    lon="longitude",
    lat="latitude",
    region_id={"county": "id"},
    keep=["population"],
    predicate="within",
)
