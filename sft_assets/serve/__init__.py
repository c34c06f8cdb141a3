"""`sft serve`: the Dagster UI, its daemon, the report and the map of one data folder, on 127.0.0.1.

http://127.0.0.1:3000/        the Dagster UI     ui.py      with the daemon, over one code server
http://127.0.0.1:3000/start   where to begin     pages.py   with links to /report, /map and /card
http://127.0.0.1:3000/review  people decide      review/    one row at a time, by keyboard
everything                    is checked by      guard.py   for Dagster's server asks nobody who they are
                              started, stopped   server.py  one instance on a folder, and any number of viewers
"""

from sft_assets.serve.guard import Rules
from sft_assets.serve.server import HOST, serve

__all__ = ["HOST", "Rules", "serve"]
