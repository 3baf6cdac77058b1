"""linq-relay: between Linq and a company's teams, every webhook verified, stored, routed and delivered."""

from importlib.metadata import version

__version__ = version("linq-relay")
