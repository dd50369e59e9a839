"""The actions of a player, numbered as in the Arcade Learning Environment."""

import enum

Action = enum.IntEnum(
    "Action",
    "NOOP FIRE UP RIGHT LEFT DOWN UPRIGHT UPLEFT DOWNRIGHT DOWNLEFT UPFIRE RIGHTFIRE "
    "LEFTFIRE DOWNFIRE UPRIGHTFIRE UPLEFTFIRE DOWNRIGHTFIRE DOWNLEFTFIRE",
    start=0,
)
"""The 18 positions of a joystick with one button."""

RESET = 40
"""The console's reset switch, as an action of the reset sequence only."""
