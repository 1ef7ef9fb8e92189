"""`zonebridge check`: whether a cluster is fit for zonebridge, and whether an installation is as it should be.

`gather` asks the cluster, `reach` asks Panorama and the SIEM; every other file judges what they brought.
"""
