"""Silicon figures: what synthesis, place and route make of the hardware, per family of devices and part by part."""

from difflut_compiler.costs.families import FAMILIES, Family
from difflut_compiler.synth.count import count_cells
from difflut_compiler.synth.results import SynthesisResult, result_from_json
from difflut_compiler.synth.run import SynthesisRequest, read_results, read_vendor_reports, synthesise_network

__all__ = [
    "FAMILIES",
    "Family",
    "SynthesisRequest",
    "SynthesisResult",
    "count_cells",
    "read_results",
    "read_vendor_reports",
    "result_from_json",
    "synthesise_network",
]
