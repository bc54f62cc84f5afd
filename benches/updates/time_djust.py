"""Times djust's Rust extension for the bench `updates`, which starts this script and talks to it by lines.

The first line in is {"template", "old", "new"} as JSON. Each line after it is a number of updates; what they took is
answered in seconds. Only the compiled extension is called, as djust's own Python layer does for a push.
"""

import gc
import json
import sys
import time

import djust._rust


def main():
    case = json.loads(sys.stdin.readline())
    view = djust._rust.RustLiveView(case["template"])
    view.set_loop_render_cache_enabled(True)

    def update(state):
        view.update_state(state)
        view.set_changed_keys(list(state))
        return view.render_with_diff()

    update(case["old"])
    # What did not change is not pushed.
    changed = [key for key in case["new"] if case["new"][key] != case["old"][key]] or ["rows"]
    there, back = ({key: case[side][key] for key in changed} for side in ("new", "old"))
    gc.disable()
    for line in sys.stdin:
        total = 0.0
        for _ in range(int(line)):
            start = time.perf_counter()
            update(there)
            total += time.perf_counter() - start
            update(back)
        gc.collect()
        print(total, flush=True)


main()
