"""Features of users and items as RecBole reads them, for tests of converters."""


def tokens(dataset, field):
    """Tokens of a field of the interactions, row by row."""
    return list(dataset.id2token(field, dataset.inter_feat[field].to_numpy()))


def features(dataset, table, field):
    """Token of each user or item -> its feature: a text, a list of texts, or a number."""
    rows = dataset.user_feat if table == "user" else dataset.item_feat
    keys = dataset.id2token(f"{table}_id", rows[f"{table}_id"].to_numpy())
    return {key: _value(dataset, field, value) for key, value in zip(keys, rows[field], strict=True) if key != "[PAD]"}


def _value(dataset, field, value):
    kind = dataset.field2type[field].value
    if kind == "float":
        return float(value)
    if kind == "token":
        return dataset.id2token(field, int(value))
    return [dataset.id2token(field, int(i)) for i in value]
