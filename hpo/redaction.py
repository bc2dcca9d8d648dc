"""Passwords stay out of everything that is printed or written."""

from __future__ import annotations

import re

# `://user:` not followed by a port; the password goes to the last @, as it may hold one itself.
_PASSWORD = re.compile(r"(\w+://[^\s:/@]*):(?!\d*(?:[/?\s]|$))\S*@")
_OPTION = re.compile(r"([?&])(?:sslpassword|password|passwd)=[^&\s]*&?")
_NO_OPTION_LEFT = re.compile(r"[?&](?=\s|$)")


def redact(text: str) -> str:
    """`text` with the password of every URL in it removed: `scheme://user:secret@host?password=x` is
    left as `scheme://user@host`, which still opens where the client finds the password by itself."""
    text = _OPTION.sub(r"\1", _PASSWORD.sub(r"\1@", text))
    return _NO_OPTION_LEFT.sub("", text)
