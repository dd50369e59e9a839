"""What the 104 single-player games mean: rules, actions, modes, difficulties.

The facts (addresses, score formulas, starting actions) are those by which the Arcade
Learning Environment defines its tasks (Bellemare et al., "The Arcade Learning
Environment", JAIR 2013; Machado et al., JAIR 2018), so that returns are comparable.
"""

from atari.games.rules import Memory, Rules, Signals
from atari.games.settings import Settings, settings
from atari.games.table import rules

__all__ = ["Memory", "Rules", "Settings", "Signals", "rules", "settings"]
