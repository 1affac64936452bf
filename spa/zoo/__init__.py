"""Many models at once: where they come from, what was done already, who does the rest.

Every model is pruned in a process of its own by one function (`work`), which takes the lock of the
model, looks into the manifest, prunes if it must and notes what came of it.  So it may be called
again at any time, from any process, by any engine: nothing is lost and nothing is done twice.
"""
