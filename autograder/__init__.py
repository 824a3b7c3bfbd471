"""From a lab's text to the notebook that students get, and from a folder of submissions to a gradebook."""
