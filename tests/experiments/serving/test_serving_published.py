"""The published request, worked out by hand in the features of this project."""

from experiments.serving.published import (
    LINKS,
    DataChars,
    Historical,
    NetworkState,
    SystemState,
    features_of,
)
from sim.scenarios import LINK_TYPES


def test_link_types_stand_where_the_environments_have_them():
    assert {name: int(place) for name, place in LINKS.items() if name != "dc"} == {
        name: place for place, name in enumerate(LINK_TYPES)
    }
    assert features_of(NetworkState(linkType="carrier pigeon"), None, None, None) == {"link_type": 1.0}


def test_every_group_is_told_in_our_units():
    given = features_of(
        NetworkState(rttMs=80, jitterMs=2, bandwidthMbps=200, linkType="wan", region="eu"),
        DataChars(sizeBytes=3 * 2**20, entropy=0.5, compressibilityScore=0.25),
        SystemState(cpuUsage=0.5, memoryAvailableMB=2500),
        Historical(
            hdeCompressionRatio=12,
            hdeDeltaHitRate=60,
            amstTransferRateMbps=50,
            baselineCompressionRatio=3,
        ),
    )
    assert given == {
        **{"rtt_ms": 80, "jitter_ms": 2, "bandwidth_mbps": 200, "link_type": 2},
        **{"size_mb": 3, "entropy": 0.5, "compressibility": 0.25},
        # Published: 1 - available / 10000 MB.
        **{"cpu_usage": 0.5, "memory_pressure": 0.75},
        **{"recent_hde_ratio": 12, "recent_zstd_ratio": 3, "recent_amst_rate_share": 0.25},
    }


def test_what_is_not_told_is_left_to_its_default():
    assert features_of(NetworkState(), DataChars(), SystemState(), Historical(amstTransferRateMbps=5)) == {}
    assert features_of(None, None, SystemState(memoryAvailableMB=16384), None) == {"memory_pressure": 0.0}
