"""The review page: one item of a queue at a time, and what a person at the keyboard says of it, on the disk before the next.

    http://127.0.0.1:3000/review?queue=20260102T030405Z-1f0c22ab&reviewer=ann

routes.py       what the page asks this server for        app.js      what a key does
shown.py        an item as the page shows it              view.js     an item on the screen
differences.py  where two texts differ                    editing.js  the answer as a person would have it
page.html       what is there before anything is known    server.js   requests, sent until they are answered
app.css         how it looks                              page.js     what the page knows and says
                                                          kept.js     what outlives the browser

The page runs no script but these, and text of the data is only ever text in it.
"""

from sft_assets.serve.review.routes import routes

__all__ = ["routes"]
