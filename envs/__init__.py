"""The questions as games. Importing this registers them: ``gymnasium.make("envs:dwcp/Compression-v0")``."""

from envs.registration import register

register()
