"""What the recipes of random worlds do, as the text of their functions."""

TABLE_BODIES = {
    "filter": "    return t[t['a'].fillna(0) % 3 != CONST % 3]\n",
    "derive": "    t['a'] = shift(t['a'], CONST)\n    t['b'] = t['b'].str.upper()\n    return t\n",
    "join": (
        "    u = u.drop_duplicates('id')[['id', 'a']].rename(columns={'a': 'z'})\n"
        "    t = t.merge(u, on='id', how='left')\n"
        "    t['a'] = t['a'] + t.pop('z').astype('Int64').fillna(CONST)\n    return t\n"
    ),
    "split": ("    bad = t['a'].fillna(0) % 4 == CONST % 4\n    return {'good': t[~bad], 'bad': t[bad]}\n"),
}
NARROW_BODIES = {
    "grouped": (
        "    t = t[t['b'].notna()]\n    return t.groupby('b', as_index=False)['a'].max().rename(columns={'a': 'top'})\n"
    ),
    "peers": (
        "    t = t[t['a'].notna()].astype({'a': 'int64'})\n"
        "    return t.assign(n=t.groupby('a')['id'].transform('size'))[['id', 'a', 'n']]\n"
    ),
    "shapes": (
        "    west = t['a'].fillna(CONST).to_numpy(float) % 5\n"
        "    shapes = shapely.box(west, -1e10, west + CONST, 1e10)\n"
        "    return gpd.GeoDataFrame({'id': t['id'], 'b': t['b']}, geometry=shapes, crs='EPSG:3857')\n"
    ),
    "places": (
        "    x, y = t['id'] * 7 % 11 / 2, t['a'].fillna(CONST).to_numpy(float) % 5\n"
        "    return pd.DataFrame({'id': t['id'], 'b': t['b'], 'x': x, 'y': y})\n"
    ),
    "loose": (
        "    n = t['id'].where(t['id'] % 3 != CONST % 3, (float('nan'), 0.5)[CONST % 2])\n"
        "    n = n if CONST % 3 else t['a'].map({CONST: 1, 2 * CONST: 2})\n"
        "    return t.assign(n=n).loc[t['b'].notna(), ['id', 'b', 'n']]\n"
    ),
    "codes": (
        "    codes = t['b'].dropna().drop_duplicates().sort_values()\n"
        "    parents = codes.shift(1 + CONST % 2)\n"
        "    return pd.DataFrame({'code': codes, 'parent': parents})\n"
    ),
}
"""Bodies whose results have other columns than most tables; a row that is left out may decide a dtype of `loose`, or
each of two kinds of rows have another alone."""

READY_BODIES = {
    "count": "count_by({name}, of={t}, by=['b'], sums={{'total': 'a'}}{words})",
    "assign": (
        "assign_regions({name}, points={t}, regions={u}, lon='a', lat='c', region_id={{'region': '{column}'}}, "
        "ties={ties}, crs='EPSG:3857'{words})"
    ),
    "levels": "count_by({name}, of={t}, by=['b'], taxonomy={u}, sums={{'total': 'a'}}{words})",
    "smooth": "smooth_regions({name}, regions={t}, {smoothing}{words})",
    "hulls": "infer_regions({name}, points={t}, by=['b'], lon='x', lat='y', crs='EPSG:3857', {inference}{words})",
    "dissolve": "infer_regions({name}, points={t}, by=['b'], method='dissolve'{words})",
}
"""Calls of ready-made recipes."""

REGIONS = ("shapes", "smooth", "hulls", "dissolve")
"""Bodies that make tables of regions, with a column b."""

SMOOTHING = (
    "method='chaikin', iterations=1",
    "method='taubin', iterations=2",
    "method='buffer', distance_m=0.25",
    "method='chaikin', tolerance_m=0.1",
    "method='coverage', iterations=1",
)
INFERENCE = (
    "method='convex'",
    "method='concave', ratio=0.5",
    "method='convex'",
    "method='clusters', radius_m=3, min_points=2",
    "method='voronoi'",
)
"""Methods with their options; a recipe's constant says which."""

VALUE_BODIES = {
    "json": "    return {'n': size(t), 'shift': shift(CONST, 1), 'p': PARAM}\n",
    "bytes": "    return (text(t) + str(CONST) + str(PARAM)).encode()\n",
    "counts": "    return t.groupby('b', dropna=False)['a'].sum().reset_index()\n",
    "head": "    return t[['id']].head(CONST % 4 + 1)\n",
}

HELPERS = '''"""Helpers of the recipes."""
import hashlib
import pandas as pd
from pathlib import Path

STEP = {step}
{unused}

def shift(value, by):
    return value + _far(by)


def _far(by):
    return by * STEP


def text(value):
    """All of a value as text."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode()
    if isinstance(value, pd.DataFrame):
        return value.to_csv(index=False)
    if isinstance(value, (dict, list, str, int)):
        return repr(sorted(value.items()) if isinstance(value, dict) else value)
    if isinstance(value, Path):
        return value.read_text()
    return "|".join(f"{{k}}={{text(v)}}" for k, v in value.items())


def size(value):
    return hashlib.sha256(text(value).encode()).hexdigest()[:12]
'''
