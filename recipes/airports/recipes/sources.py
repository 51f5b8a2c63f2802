"""What nobody builds: the files in data/."""

import builder as b

AIRPORT_COLUMNS = {
    "icao": "string",
    "iata": "string",
    "name": "string",
    "elevation": "float64",
    "lat": "float64",
    "lon": "float64",
    "lid": "string",
}

airports = b.source("airports", "data/airports.csv.gz", key="icao", columns=AIRPORT_COLUMNS)
places = b.source("places", "data/places.csv.gz", key="geonameid")
counties = b.source("counties", "data/counties.geojson.gz", key="id")
states = b.source("states", "data/states.geojson.gz", key="id")
