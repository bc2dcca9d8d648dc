class DictConfig(dict):
    def __getattr__(self, name):
        value = self[name]
        return DictConfig(value) if isinstance(value, dict) else float(value) if _is_number(value) else value


def _is_number(value):
    return isinstance(value, str) and value.replace("e-", "").replace(".", "").isdigit()
