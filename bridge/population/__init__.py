"""Who is where in a cluster: one picture of its pods, published as PodSlices and Zones."""

from bridge.population.picture import Member, Population
from bridge.population.task import PopulationFigures, PopulationTerms, Publishing

__all__ = ["Member", "Population", "PopulationFigures", "PopulationTerms", "Publishing"]
